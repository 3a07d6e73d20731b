//! What the answers of several processes say together: each partition once, and what an operator should look at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::output::table;

/// One server that was asked.
pub struct Answer {
    /// Its URL.
    pub server: String,
    /// What it said, or why it did not.
    pub outcome: Result<Said, String>,
}

/// The status of one process. A process of another version may say more or less.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    process: String,
    datacenter: String,
    roles: Vec<String>,
    version: String,
    fold_newest: Option<u32>,
    generation: Option<u32>,
    max_lag: Option<u64>,
    partitions: Vec<SaidPartition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SaidPartition {
    partition: u32,
    log_id: Option<String>,
    leading: bool,
    projecting: bool,
    claim: Option<i64>,
    claimed_by: Option<String>,
    fold: u32,
    log_end: Option<i64>,
    applied: i64,
}

/// All answers as one.
#[derive(Debug, Serialize)]
pub struct Status {
    processes: Vec<Process>,
    partitions: Vec<Partition>,
    /// What to look at, in words; nothing when all is well.
    pub marks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Process {
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    datacenter: String,
    process: String,
    roles: Vec<String>,
    version: String,
    generation: Option<u32>,
    fold_newest: Option<u32>,
    leads: usize,
    projects: usize,
}

/// A partition as those who answered know it together.
#[derive(Debug, Default, Serialize)]
struct Partition {
    datacenter: String,
    partition: u32,
    /// The process whose claim is in force.
    leader: Option<String>,
    claim: Option<i64>,
    /// Whether that process says that it leads; none if it was not asked.
    leads: Option<bool>,
    fold: u32,
    generation: Option<u32>,
    log_id: Option<String>,
    log_end: Option<i64>,
    applied: i64,
    lag: Option<i64>,
    marks: Vec<String>,
}

impl Status {
    /// Puts answers together.
    pub fn of(answers: Vec<Answer>) -> Self {
        let mut marks = Vec::new();
        let mut processes = Vec::new();
        let mut by_datacenter: BTreeMap<String, Vec<Said>> = BTreeMap::new();
        for Answer { server, outcome } in answers {
            match outcome {
                Ok(said) => {
                    processes.push(Process::answering(server, &said));
                    by_datacenter.entry(said.datacenter.clone()).or_default().push(said);
                }
                Err(error) => {
                    marks.push(format!("{server} does not say how it is"));
                    processes.push(Process::silent(server, error));
                }
            }
        }
        let partitions: Vec<_> =
            by_datacenter.iter().flat_map(|(name, said)| partitions_of(name, said)).collect();
        for partition in &partitions {
            let place = format!("{} partition {}", partition.datacenter, partition.partition);
            marks.extend(partition.marks.iter().map(|mark| format!("{}: {mark}", place.trim_start())));
        }
        Self { processes, partitions, marks }
    }

    /// For people.
    pub fn text(&self) -> String {
        let number = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        let processes: Vec<Vec<String>> = self.processes.iter().map(Process::cells).collect();
        let row = |partition: &Partition| {
            let led = match partition.leads {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not asked",
            };
            vec![
                partition.datacenter.clone(),
                partition.partition.to_string(),
                partition.leader.clone().unwrap_or_default(),
                number(partition.claim),
                led.to_owned(),
                number(partition.log_end),
                partition.applied.to_string(),
                number(partition.lag),
                partition.fold.to_string(),
                partition.generation.map_or_else(String::new, |generation| generation.to_string()),
                partition.log_id.clone().unwrap_or_default(),
                partition.marks.join(", "),
            ]
        };
        let partitions: Vec<_> = self.partitions.iter().map(row).collect();
        let processes = table(
            &["server", "datacenter", "process", "roles", "version", "leads", "projects", "problem"],
            &processes,
        );
        let partitions = table(
            &[
                "datacenter",
                "partition",
                "leader",
                "claim",
                "leads",
                "log_end",
                "applied",
                "lag",
                "fold",
                "generation",
                "log_id",
                "marks",
            ],
            &partitions,
        );
        format!("{processes}\n\n{partitions}")
    }
}

impl Process {
    fn answering(server: String, said: &Said) -> Self {
        Self {
            server,
            error: None,
            datacenter: said.datacenter.clone(),
            process: said.process.clone(),
            roles: said.roles.clone(),
            version: said.version.clone(),
            generation: said.generation,
            fold_newest: said.fold_newest,
            leads: said.partitions.iter().filter(|partition| partition.leading).count(),
            projects: said.partitions.iter().filter(|partition| partition.projecting).count(),
        }
    }

    fn silent(server: String, error: String) -> Self {
        Self { error: Some(error), ..Self::answering(server, &Said::default()) }
    }

    fn cells(&self) -> Vec<String> {
        let count = |number: usize| if self.error.is_some() { String::new() } else { number.to_string() };
        vec![
            self.server.clone(),
            self.datacenter.clone(),
            self.process.clone(),
            self.roles.join(","),
            self.version.clone(),
            count(self.leads),
            count(self.projects),
            self.error.clone().unwrap_or_default(),
        ]
    }
}

fn partitions_of(datacenter: &str, said: &[Said]) -> Vec<Partition> {
    let numbers: BTreeSet<u32> =
        said.iter().flat_map(|said| &said.partitions).map(|partition| partition.partition).collect();
    numbers.into_iter().map(|number| partition_of(datacenter, number, said)).collect()
}

fn partition_of(datacenter: &str, number: u32, said: &[Said]) -> Partition {
    let views: Vec<(&Said, &SaidPartition)> = said
        .iter()
        .filter_map(|said| Some((said, said.partitions.iter().find(|found| found.partition == number)?)))
        .collect();
    // A later claim replaces an earlier one; whoever has not read it yet knows less.
    let newest = views.iter().max_by_key(|(_, seen)| seen.claim);
    let claim = newest.and_then(|(_, seen)| seen.claim);
    let leader = newest.and_then(|(_, seen)| seen.claimed_by.clone());
    let leads = views
        .iter()
        .find(|(said, _)| Some(&said.process) == leader.as_ref())
        .map(|(_, seen)| seen.leading && seen.claim == claim);
    let log_end = views.iter().filter_map(|(_, seen)| seen.log_end).max();
    let applied = views.iter().map(|(_, seen)| seen.applied).max().unwrap_or(-1);
    let lag = log_end.map(|end| (end - 1 - applied).max(0));
    let fold = views.iter().map(|(_, seen)| seen.fold).max().unwrap_or_default();
    let log_ids: BTreeSet<&String> = views.iter().filter_map(|(_, seen)| seen.log_id.as_ref()).collect();
    let generations: BTreeSet<u32> = views.iter().filter_map(|(said, _)| said.generation).collect();

    let mut marks = Vec::new();
    if claim.is_none() {
        marks.push("no leader".to_owned());
    } else if leads == Some(false) {
        marks.push("its leader does not lead".to_owned());
    }
    match lag {
        Some(lag) => {
            // The process that allows least is the first to refuse work.
            let allowed = views.iter().filter_map(|(said, _)| said.max_lag).min();
            if let Some(allowed) = allowed.filter(|allowed| lag.unsigned_abs() > *allowed) {
                marks.push(format!("lag over {allowed}"));
            }
        }
        None => marks.push("nobody can tell where its log ends".to_owned()),
    }
    if log_ids.len() > 1 {
        marks.push("processes read different logs".to_owned());
    }
    if generations.len() > 1 {
        marks.push("processes read different generations".to_owned());
    }
    for (said, _) in &views {
        if said.fold_newest.is_some_and(|newest| newest < fold) {
            marks.push(format!("{} does not know fold {fold}", said.process));
        }
    }
    Partition {
        datacenter: datacenter.to_owned(),
        partition: number,
        leader,
        claim,
        leads,
        fold,
        generation: generations.last().copied(),
        log_id: log_ids.first().map(|id| (*id).clone()),
        log_end,
        applied,
        lag,
        marks,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(process: &str, partitions: Value) -> Said {
        let said = json!({
            "process": process, "datacenter": "alpha", "roles": ["engine"], "version": "1", "fold_newest": 1,
            "generation": 1, "max_lag": 10, "partitions": partitions, "from_the_future": true,
        });
        serde_json::from_value(said).unwrap()
    }

    fn merged(said: Vec<Said>) -> Value {
        let answers = said
            .into_iter()
            .map(|said| Answer { server: format!("http://{}", said.process), outcome: Ok(said) });
        serde_json::to_value(Status::of(answers.collect())).unwrap()
    }

    fn partition(leading: bool, claim: i64, claimed_by: &str, applied: i64, log_end: i64) -> Value {
        json!({
            "partition": 0, "log_id": "l", "leading": leading, "claim": claim, "claimed_by": claimed_by, "fold": 1,
            "log_end": log_end, "applied": applied,
        })
    }

    #[test]
    fn the_newest_claim_and_the_furthest_offsets_count() {
        let behind = said("a", json!([partition(false, 3, "a", 5, 20)]));
        let ahead = said("b", json!([partition(true, 9, "b", 18, 19)]));
        let status = merged(vec![behind, ahead]);
        let found = &status["partitions"][0];
        assert_eq!(
            (&found["leader"], &found["claim"], &found["leads"]),
            (&json!("b"), &json!(9), &json!(true))
        );
        assert_eq!(
            (&found["applied"], &found["log_end"], &found["lag"]),
            (&json!(18), &json!(20), &json!(1))
        );
        assert_eq!(status["marks"], json!([]));
    }

    #[test]
    fn what_an_operator_should_look_at_is_marked() {
        let unclaimed = json!([{"partition": 0, "fold": 1, "log_end": 1, "applied": 0}]);
        let cases = [
            (vec![said("a", unclaimed)], "no leader"),
            (vec![said("a", json!([partition(false, 3, "a", 5, 6)]))], "its leader does not lead"),
            (vec![said("a", json!([partition(true, 3, "a", 5, 17)]))], "lag over 10"),
            (
                vec![said("a", json!([{"partition": 0, "claim": 1, "claimed_by": "z", "applied": 1}]))],
                "nobody can tell where its log ends",
            ),
        ];
        for (answers, mark) in cases {
            let status = merged(answers);
            assert_eq!(status["partitions"][0]["marks"], json!([mark]));
            assert_eq!(status["marks"], json!([format!("alpha partition 0: {mark}")]));
        }
        let mut other = partition(false, 3, "a", 5, 6);
        other["log_id"] = json!("other");
        let two = vec![said("a", json!([partition(true, 3, "a", 5, 6)])), said("b", json!([other]))];
        assert_eq!(merged(two)["partitions"][0]["marks"], json!(["processes read different logs"]));
        let mut raised = partition(true, 3, "a", 5, 6);
        raised["fold"] = json!(2);
        assert_eq!(
            merged(vec![said("a", json!([raised]))])["partitions"][0]["marks"],
            json!(["a does not know fold 2"])
        );
    }

    #[test]
    fn a_leader_that_was_not_asked_is_no_fault() {
        let status = merged(vec![said("a", json!([partition(false, 3, "z", 5, 6)]))]);
        assert_eq!((&status["partitions"][0]["leads"], &status["marks"]), (&json!(null), &json!([])));
    }

    #[test]
    fn a_process_that_does_not_answer_is_shown_and_marked() {
        let silent = Answer { server: "http://b".into(), outcome: Err("connection refused".into()) };
        let said = said("a", json!([partition(true, 3, "a", 5, 6)]));
        let status = Status::of(vec![Answer { server: "http://a".into(), outcome: Ok(said) }, silent]);
        assert_eq!(status.marks, ["http://b does not say how it is"]);
        let text = status.text();
        assert!(text.contains("connection refused") && text.contains("PARTITION"), "{text}");
    }
}
