//! Errors as users see them, and the exit codes.

use std::fmt::Write as _;
use std::process::ExitCode;

use pictor_proto::code_name;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Arguments that parse but make no sense together: exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An [`anyhow::Error`] with exit code 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Prints the error on stderr and gives its exit code: 2 for bad usage, 1 for the rest; a closed pipe is success.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", describe(error));
    if error.chain().any(|cause| cause.is::<UsageError>()) {
        eprintln!("\nFor more information, try '--help'.");
        return ExitCode::from(2);
    }
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    }) && !error.chain().any(|cause| cause.is::<Status>())
}

/// The whole chain of causes in one text; a gRPC status is written out with its details.
#[must_use]
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        if !text.is_empty() {
            text.push_str(": ");
        }
        if let Some(status) = cause.downcast_ref::<Status>() {
            // What lies below is transport detail, and `describe_status` has taken the last of it.
            text.push_str(&describe_status(status));
            return text;
        }
        let _ = write!(text, "{cause}");
    }
    text
}

/// The server's message and code, then one indented line for each violated field, reason and hint.
#[must_use]
pub fn describe_status(status: &Status) -> String {
    if status.code() == Code::Unimplemented {
        return "this server does not serve that call (UNIMPLEMENTED)".to_owned();
    }
    let mut text = if status.message().is_empty() { "the call failed".to_owned() } else { status.message().to_owned() };
    if let Some(root) = root_cause(status)
        && !text.contains(&root)
    {
        let _ = write!(text, ": {root}");
    }
    let _ = write!(text, " ({})", code_name(status.code()));
    let details = status.get_error_details();
    for violation in details.bad_request().into_iter().flat_map(|request| &request.field_violations) {
        if !status.message().contains(&violation.description) || !status.message().contains(&violation.field) {
            let _ = write!(text, "\n  {}: {}", violation.field, violation.description);
        }
    }
    for violation in details.quota_failure().into_iter().flat_map(|quota| &quota.violations) {
        let _ = write!(text, "\n  {}: {}", violation.subject, violation.description);
    }
    for violation in details.precondition_failure().into_iter().flat_map(|failure| &failure.violations) {
        let _ = write!(text, "\n  {}: {}", violation.subject, violation.description);
    }
    if let Some(info) = details.error_info()
        && !info.metadata.is_empty()
    {
        let mut pairs: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.sort();
        let _ = write!(text, "\n  {} ({})", info.reason, pairs.join(", "));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let _ = write!(text, "\n  trying again makes sense after {:.1} s", delay.as_secs_f64());
    }
    match status.code() {
        Code::Unauthenticated => text.push_str("\n  give a key with --api-key or PICTOR_API_KEY"),
        Code::DeadlineExceeded | Code::Cancelled => text.push_str("\n  --timeout sets how long a call may take"),
        _ => {}
    }
    text
}

/// The message of one item's or query's error, with its stable word or its code.
#[must_use]
pub fn describe_item_error(error: &pictor_proto::v1::ItemError) -> String {
    let word = if error.reason.is_empty() { code_name(Code::from_i32(error.code)) } else { error.reason.as_str() };
    format!("{} ({word})", error.message)
}

/// The innermost cause, such as "Connection refused".
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::Context as _;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_status_is_written_with_its_details() {
        let mut details = ErrorDetails::new();
        details
            .add_bad_request_violation("filter", "expected a value at byte 7")
            .set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::InvalidArgument, "bad filter", details);
        let error = Err::<(), _>(status).context("searching emoji").expect_err("an error");
        assert_eq!(
            describe(&error),
            "searching emoji: bad filter (INVALID_ARGUMENT)\n  filter: expected a value at byte 7\
             \n  trying again makes sense after 1.5 s"
        );
        assert!(describe_status(&Status::unimplemented("")).contains("does not serve"));
    }

    #[test]
    fn closed_pipes_are_no_failure() {
        let io = |kind| anyhow::Error::new(std::io::Error::from(kind)).context("writing");
        assert!(is_broken_pipe(&io(std::io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&io(std::io::ErrorKind::NotFound)));
        let lost = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&lost.into()), "a lost server is a failure");
    }
}
