//! Images of file systems as block devices, for programs that prepare root file systems.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::loop_device::{self as device, AUTOCLEAR, DIRECT_IO, READ_ONLY};

const CONTROL: &str = "/dev/loop-control";

/// How often another free device is looked for when somebody else was faster.
const ATTEMPTS: u32 = 64;

/// A loop device. It ends with its last user: a mount of it, or this value.
///
/// ```no_run
/// use libcontainer::LoopDevice;
///
/// let image = LoopDevice::attach("/srv/image.erofs".as_ref(), true, false)?;
/// println!("mount {} before it is dropped", image.path().display());
/// # Ok::<(), libcontainer::Error>(())
/// ```
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// A device that shows an image; `direct` keeps the image's file out of the page cache.
    ///
    /// # Errors
    /// [`ErrorKind::System`]; Linux before 5.8 lacks the request.
    pub fn attach(image: &Path, read_only: bool, direct: bool) -> Result<Self> {
        let open = |path: &Path| File::options().read(true).write(!read_only).open(path);
        let file = open(image).map_err(|error| failed("open", image, &error))?;
        let control = Path::new(CONTROL);
        let numbers = File::options().read(true).write(true).open(control);
        let numbers = numbers.map_err(|error| failed("open", control, &error))?;
        let mut flags = AUTOCLEAR;
        flags |= if read_only { READ_ONLY } else { 0 };
        flags |= if direct { DIRECT_IO } else { 0 };
        let name = image.as_os_str().as_bytes();
        for _ in 0..ATTEMPTS {
            let number = device::free_number(numbers.as_fd())
                .map_err(|errno| failed("find a free device by", control, &errno.into()))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let open = open(&path).map_err(|error| failed("open", &path, &error))?;
            match device::configure(open.as_fd(), file.as_fd(), flags, name) {
                Ok(()) => return Ok(Self { path, _open: open }),
                Err(errno) if errno.0 == libc::EBUSY => {}
                Err(errno) => {
                    let error = failed("attach an image to", &path, &errno.into());
                    return Err(match errno.0 {
                        libc::EINVAL => error.with_hint("LOOP_CONFIGURE needs Linux 5.8"),
                        _ => error,
                    });
                }
            }
        }
        let message = format!("attach {}: others take every free loop device", image.display());
        Err(Error::new(ErrorKind::System, message))
    }

    /// The device's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(act: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(ErrorKind::System, act, path.display(), error)
}
