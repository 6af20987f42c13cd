"""The command line: one thin module a command, imported when it is asked for.

`main` finds the command, `exits` turns what went wrong into one line and an exit code, `options` makes flags from the
settings schema, `terminal` prints. What the commands do lies below: `vidro.api` and the rooms. Read next: `main`.
"""
