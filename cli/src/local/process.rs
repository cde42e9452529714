//! Child processes of this very binary, which never outlive whoever started them.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::fail::Fail;

/// How long a service may take to stop by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// One running service.
///
/// The child's standard input is a pipe that this process holds: when it is dropped, or this process dies in any way,
/// the child reads the end of it and stops. Dropping also kills, so that no path leaves a service behind.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
    released: bool,
}

impl Process {
    /// Starts `executable ROLE run --config CONFIG`; its standard error is appended to `log`.
    ///
    /// With `may_outlive` the child gets no lifeline, so that [`release`](Self::release) can let it run on.
    ///
    /// # Errors
    /// The log cannot be opened or the process cannot be started.
    pub fn start(
        executable: &Path,
        role: &str,
        config: &Path,
        log: &Path,
        may_outlive: bool,
    ) -> Result<Self, Fail> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|e| Fail::write(log, &e))?;
        let mut command = Command::new(executable);
        command
            .args([role, "run", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(file);
        if may_outlive {
            command.stdin(Stdio::null());
        } else {
            command.arg("--stop-on-eof").stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|e| {
            Fail::failed(format_args!("cannot start {}: {e}", executable.display()))
        })?;
        let lifeline = child.stdin.take();
        Ok(Self {
            name: format!("{role} {}", config.display()),
            child,
            lifeline,
            log: log.to_owned(),
            released: false,
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Fails with the end of the log if the service is no longer there.
    ///
    /// # Errors
    /// It has exited.
    pub fn check(&mut self) -> Result<(), Fail> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Fail::failed(format_args!(
                "{} stopped: {status}; its log ends with: {}",
                self.name,
                tail(&self.log)
            ))
            .hint(format_args!("read {}", self.log.display()))),
            Err(e) => Err(Fail::failed(format_args!("{}: {e}", self.name))),
        }
    }

    /// Lets the service run on after this process.
    pub fn release(mut self) {
        self.released = true;
    }

    /// SIGKILL, as a crash would be: nothing is flushed, nothing is said.
    ///
    /// # Errors
    /// The process cannot be signalled or waited for.
    pub fn crash(mut self) -> Result<(), Fail> {
        self.end()
            .map_err(|e| Fail::failed(format_args!("cannot kill {}: {e}", self.name)))
    }

    /// Asks the service to stop, and kills it when it does not.
    pub fn stop(mut self) {
        drop(self.lifeline.take());
        let until = Instant::now().checked_add(STOP_PATIENCE);
        while let (Ok(None), Some(until)) = (self.child.try_wait(), until) {
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.released {
            // Nothing is left to do for a process that cannot even be signalled.
            let _gone = self.end();
        }
    }
}

/// The last line of a log.
fn tail(log: &Path) -> String {
    std::fs::read_to_string(log)
        .ok()
        .and_then(|text| text.trim_end().lines().next_back().map(str::to_owned))
        .unwrap_or_else(|| "(nothing)".to_owned())
}
