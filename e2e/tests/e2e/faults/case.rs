//! What a case of the matrix is, and how it is written: `slow/leave/3/before`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use testkit::power_cut::Side;
use testkit::receiver::{How, Misbehaviour};

/// What is wrong with the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not listen.
    Down,
    /// It does the work, and answers too late.
    Slow,
    /// It does the work when nobody waits for the answer any more.
    Late,
    /// It answers 500, and does nothing.
    Fails,
    /// It does the work, and answers what means nothing.
    WrongAnswer,
    /// It does the work, and cuts the connection instead of an answer.
    Cut,
    /// It is killed after the work, before the answer.
    Killed,
}

impl Trouble {
    pub(crate) const ALL: [Trouble; 7] = [
        Trouble::Down,
        Trouble::Slow,
        Trouble::Late,
        Trouble::Fails,
        Trouble::WrongAnswer,
        Trouble::Cut,
        Trouble::Killed,
    ];

    fn word(self) -> &'static str {
        match self {
            Trouble::Down => "down",
            Trouble::Slow => "slow",
            Trouble::Late => "late",
            Trouble::Fails => "500",
            Trouble::WrongAnswer => "wrong-answer",
            Trouble::Cut => "cut",
            Trouble::Killed => "killed",
        }
    }

    pub(crate) fn misbehaviour(self) -> Misbehaviour {
        match self {
            Trouble::Down => Misbehaviour::instead_of_work(How::Down),
            // A call has a second.
            Trouble::Slow => Misbehaviour::after_work(How::Slow(1500)),
            Trouble::Late => Misbehaviour::instead_of_work(How::Late(1500)),
            Trouble::Fails => Misbehaviour::instead_of_work(How::Status(500, None)),
            Trouble::WrongAnswer => Misbehaviour::after_work(How::WrongType),
            Trouble::Cut => Misbehaviour::after_work(How::Cut),
            Trouble::Killed => Misbehaviour::after_work(How::Die),
        }
    }
}

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A device comes in.
    Join,
    /// A device that is in asks again, and gets other credentials.
    Again,
    /// A device that is in leaves.
    Leave,
    /// A device leaves that was still coming in.
    TurnBack,
}

impl Act {
    pub(crate) const ALL: [Act; 4] = [Act::Join, Act::Again, Act::Leave, Act::TurnBack];

    fn word(self) -> &'static str {
        match self {
            Act::Join => "join",
            Act::Again => "again",
            Act::Leave => "leave",
            Act::TurnBack => "turn-back",
        }
    }

    /// Whether the device is in before.
    pub(crate) fn begins_inside(self) -> bool {
        matches!(self, Act::Again | Act::Leave)
    }

    /// Whether the device asks.
    pub(crate) fn asks(self) -> bool {
        self != Act::Leave
    }

    /// Whether the device is out in the end.
    pub(crate) fn ends_outside(self) -> bool {
        matches!(self, Act::Leave | Act::TurnBack)
    }
}

/// A case: the power fails at one write of an act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) trouble: Trouble,
    pub(crate) act: Act,
    /// From 1, counted from the beginning of the act.
    pub(crate) write: u64,
    pub(crate) side: Side,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.trouble, self.act, self.write, self.side.word())
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Case> {
        let [trouble, act, write, side] = text.split('/').collect::<Vec<_>>()[..] else {
            bail!("not a case: {text:?}");
        };
        let unknown = || format!("not a case: {text:?}");
        Ok(Case {
            trouble: Trouble::ALL.into_iter().find(|it| it.word() == trouble).with_context(unknown)?,
            act: Act::ALL.into_iter().find(|it| it.word() == act).with_context(unknown)?,
            write: write.parse()?,
            side: [Side::Before, Side::After]
                .into_iter()
                .find(|it| it.word() == side)
                .with_context(unknown)?,
        })
    }
}
