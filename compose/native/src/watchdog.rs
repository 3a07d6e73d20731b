//! A process that outlives this one by a moment: it kills the servers and removes their folder when this process is
//! gone without having done so. Death signals of the kernel would not do: they follow the thread that started a child.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use parking_lot::Mutex;

use crate::NativeError;

/// Reads `watch <id>`, `forget <id>` and `done`; the end of its input without `done` means that its owner is gone.
/// Dying servers may still create files, so removing is tried more than once.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
watched=
while read -r verb id; do
    case "$verb" in
        watch) watched="$watched $id" ;;
        forget)
            kept=
            for one in $watched; do [ "$one" = "$id" ] || kept="$kept $one"; done
            watched=$kept ;;
        done) exit 0 ;;
    esac
done
for one in $watched; do kill -KILL "$one"; done
[ -z "$1" ] && exit 0
for attempt in 1 2 3 4 5; do rm -rf -- "$1" && exit 0; sleep 0.2; done
"#;

pub(crate) struct Watchdog {
    process: Mutex<Option<(Child, ChildStdin)>>,
}

impl Watchdog {
    /// `folder` is removed with the servers, if there is one.
    pub(crate) fn start(folder: Option<&Path>) -> Result<Self, NativeError> {
        let shell = Path::new("/bin/sh");
        let failed = || NativeError::io("start the watchdog with", shell);
        let mut child = Command::new(shell)
            .args(["-c", SCRIPT, "tidewheel-native-watchdog"])
            .arg(folder.unwrap_or(Path::new("")))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed())?;
        let input = child.stdin.take().ok_or_else(|| failed()(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { process: Mutex::new(Some((child, input))) })
    }

    /// From now on the process dies with this one.
    pub(crate) fn watch(&self, id: u32) -> Result<(), NativeError> {
        self.tell(&format!("watch {id}\n"))
            .map_err(NativeError::io("write to the watchdog", Path::new("/bin/sh")))
    }

    /// The process has been waited for: its id may soon be somebody else's.
    pub(crate) fn forget(&self, id: u32) {
        // A watchdog that is gone kills nobody.
        let _ = self.tell(&format!("forget {id}\n"));
    }

    fn tell(&self, line: &str) -> std::io::Result<()> {
        match &mut *self.process.lock() {
            Some((_, input)) => input.write_all(line.as_bytes()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.tell("done\n");
        if let Some((mut child, input)) = self.process.get_mut().take() {
            drop(input);
            let _ = child.wait();
        }
    }
}
