"""`python terminal.py ROWS COLUMNS COMMAND…` runs it in a pseudo-terminal of that size; ends as it ends."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

child, master = pty.fork()
if not child:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", int(sys.argv[1]), int(sys.argv[2]), 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
while True:
    try:
        data = os.read(master, 65536)
    except OSError:  # the last one has closed it
        break
    if not data:
        break
    os.write(1, data)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
