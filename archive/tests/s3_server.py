"""A server of S3's protocol with the bucket `facts`, on a free port of loopback. Says its address; ends when killed."""
import os

os.environ.setdefault("AWS_ACCESS_KEY_ID", "x")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "x")

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
address = f"http://127.0.0.1:{port}"
boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="facts")
print("ready " + address, flush=True)
server._thread.join()
