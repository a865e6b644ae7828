//! What a call is worth when not all can be served.

/// Classes of calls, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Answers, submissions, and the session that a device needs to go on.
    Answer,
    /// What organizers do to an exam and its attempts: a pause is wanted just when nothing else gets through.
    Act,
    /// Check-ins and starts.
    Start,
    /// Paper, clock and polls.
    Read,
    /// A candidate's own result.
    Result,
    /// What organizers look at.
    Board,
    /// Whatever lasts: watched exams, exports, the log.
    Stream,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 7] = [
        Self::Answer,
        Self::Act,
        Self::Start,
        Self::Read,
        Self::Result,
        Self::Board,
        Self::Stream,
    ];

    /// Returns the class of a call by its path, `/package.Service/Method`. What is not known ranks as an organizer's.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or_default() {
            "SaveAnswers" | "SubmitAttempt" | "GetSession" | "EnterSection" => Self::Answer,
            "StartAttempt" | "CheckIn" => Self::Start,
            "GetPaper" | "GetServerTime" | "PollSession" => Self::Read,
            "ActOnAttempts" | "CompensateOutage" | "CreateExam" | "PublishExam" | "OpenExam"
            | "CloseExam" | "ProposeRuling" | "ApproveRuling" => Self::Act,
            "GetResult" => Self::Result,
            "WatchExam" | "WatchStandings" | "ExportExam" | "ExportResult" | "TailLog"
            | "DumpStore" => Self::Stream,
            _ => Self::Board,
        }
    }

    /// Returns the share of all calls at once up to which this class is let in, in percent: dashboards go first, answers
    /// last, organizers' actions never: they have few places, and above those no ceiling. Half of the room is for candidates alone, and a quarter of it for those whose time is running.
    pub(super) fn ceiling_percent(self) -> usize {
        match self {
            Self::Act => 200,
            Self::Answer => 100,
            Self::Start => 85,
            Self::Read => 75,
            Self::Result => 60,
            Self::Board => 50,
            Self::Stream => 40,
        }
    }

    /// Tells whether a call, by its path, cannot be taken up where it broke off: it is not ended for its connection's age.
    #[must_use]
    pub fn is_whole(path: &str) -> bool {
        matches!(
            path.rsplit('/').next(),
            Some(
                "ExportExam"
                    | "ExportResult"
                    | "DumpStore"
                    | "ActOnAttempts"
                    | "CompensateOutage"
                    | "ProposeRuling"
            )
        )
    }

    /// Tells whether candidates make such calls.
    #[must_use]
    pub fn is_candidates(self) -> bool {
        match self {
            Self::Answer | Self::Start | Self::Read | Self::Result => true,
            Self::Act | Self::Board | Self::Stream => false,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Returns the name as in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Act => "act",
            Self::Start => "start",
            Self::Read => "read",
            Self::Result => "result",
            Self::Board => "board",
            Self::Stream => "stream",
        }
    }
}
