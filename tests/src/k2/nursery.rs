//! One thread that starts all child processes, so that they can be tied to the life of the test process.
//!
//! Linux sends the "parent died" signal when the *thread* that forked is gone. This thread ends with the process only:
//! children outlive the threads of the test that wanted them, and never the test binary, kill -9 included.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{LazyLock, mpsc};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static NURSERY: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("nursery".into())
            .spawn(move || {
                for (mut command, reply) in orders {
                    let _ = reply.send(die_with_parent(&mut command).spawn());
                }
            })
            .unwrap();
        sender
    });
    let (reply, child) = mpsc::channel();
    NURSERY.send((command, reply)).unwrap();
    child.recv().unwrap()
}

fn die_with_parent(command: &mut Command) -> &mut Command {
    #[allow(unsafe_code, reason = "prctl(2) is async-signal-safe, and nothing else is done between fork and exec")]
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    }
}
