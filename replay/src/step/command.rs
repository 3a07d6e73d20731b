//! The words of the debugger. What they do is said in `session`.

use std::fmt;
use std::str::FromStr;

use tidewheel_schemas::EventType;

/// What is typed for help.
pub const HELP: &str = "\
next [N]            fold the next record, or the next N
back [N]            take the last record back, or the last N
goto N              stand after the Nth record; 0 is before the first
goto @OFFSET        stand after the record at this offset, or the last one before it
run                 go on to the next breakpoint, or to the end
reverse             go back to the breakpoint before, or to the beginning
break TYPE          stop at records of this type, such as `break step-failed`
break .PATH         stop where this field of the state changes, such as `break .status`
breaks              list the breakpoints
delete N            take the Nth breakpoint away
show [PATH]         the state of the run, or one field of it
diff                what the last record changed
record              the last record: what it says, who wrote it, what became of it
proposed            what was decided from here until something came from outside
list                every record, the one stood at marked
help                this
quit                end";

/// Where to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breakpoint {
    /// At records of this type.
    Type(EventType),
    /// Where the field of this path, or one below it, changes.
    Field(String),
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(event_type) => formatter.write_str(event_type.as_str()),
            Self::Field(path) => write!(formatter, ".{path}"),
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Fold so many records more.
    Next(usize),
    /// Take so many back.
    Back(usize),
    /// Stand after so many records.
    Goto(usize),
    /// Stand after the record at an offset.
    GotoOffset(i64),
    /// Go on to a breakpoint.
    Run,
    /// Go back to one.
    Reverse,
    /// Set one.
    Break(Breakpoint),
    /// List them.
    Breaks,
    /// Take one away.
    Delete(usize),
    /// Show the state, or a field of it.
    Show(Option<String>),
    /// Show what the last record changed.
    Diff,
    /// Show the last record.
    Record,
    /// Show what was decided next.
    Proposed,
    /// List the records.
    List,
    /// Explain the commands.
    Help,
    /// End.
    Quit,
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is no command: {what}; `help` lists them")]
pub struct ParseCommandError {
    line: String,
    what: String,
}

impl FromStr for Command {
    type Err = ParseCommandError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split_whitespace();
        let (word, argument, more) = (words.next().unwrap_or(""), words.next(), words.next());
        let wrong = |what: String| ParseCommandError { line: line.chars().take(80).collect(), what };
        if let Some(more) = more {
            return Err(wrong(format!("`{more}` is one word too many")));
        }
        let needed = || argument.ok_or_else(|| wrong(format!("`{word}` needs one word more")));
        let count = |text: &str| {
            text.parse::<usize>().map_err(|_| wrong(format!("`{text}` is no number of records")))
        };
        let times = || argument.map_or(Ok(1), count);
        let alone = |command: Self| match argument {
            None => Ok(command),
            Some(argument) => Err(wrong(format!("`{argument}` is one word too many"))),
        };
        match word {
            "next" | "n" => Ok(Self::Next(times()?)),
            "back" | "b" => Ok(Self::Back(times()?)),
            "goto" | "g" => {
                let to = needed()?;
                match to.strip_prefix('@') {
                    Some(offset) => offset
                        .parse()
                        .map(Self::GotoOffset)
                        .map_err(|_| wrong(format!("`{offset}` is no offset"))),
                    None => count(to).map(Self::Goto),
                }
            }
            "run" | "r" => alone(Self::Run),
            "reverse" => alone(Self::Reverse),
            "break" => {
                let at = needed()?;
                if let Some(path) = at.strip_prefix('.') {
                    return Ok(Self::Break(Breakpoint::Field(path.to_owned())));
                }
                let event_type = EventType::from_text(at)
                    .ok_or_else(|| wrong(format!("there is no event type `{at}`")))?;
                Ok(Self::Break(Breakpoint::Type(event_type)))
            }
            "breaks" => alone(Self::Breaks),
            "delete" => count(needed()?).map(Self::Delete),
            "show" | "s" => Ok(Self::Show(argument.map(|path| path.trim_start_matches('.').to_owned()))),
            "diff" | "d" => alone(Self::Diff),
            "record" => alone(Self::Record),
            "proposed" => alone(Self::Proposed),
            "list" | "l" => alone(Self::List),
            "help" | "h" | "?" => alone(Self::Help),
            "quit" | "q" | "exit" => alone(Self::Quit),
            _ => Err(wrong("the word is not known".to_owned())),
        }
    }
}
