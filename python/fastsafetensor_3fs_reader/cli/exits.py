# SPDX-License-Identifier: Apache-2.0
"""Exit codes of every command."""

OK = 0
#: The command did its work, and what it looked at is not right.
FOUND = 1
#: A wrong command line: argparse's own.
USAGE = 2
#: The command could not do its work.
FAILED = 3
INTERRUPTED = 130
#: Nobody reads what the command prints any more: as a shell says it of a program that SIGPIPE ended.
BROKEN_PIPE = 141

EPILOG = """\
exit codes: 0 all well; 1 something is not right with what was looked at; 2 wrong command line; 3 it could not be done;
130 interrupted; 141 nobody read the output to its end
"""
