"""The command line `ingot`: thin words over the SDK, one file per noun.

`main.py` is the program, `program.py` runs a command, `commands.py` lists them all, `command.py` is what each
of them is, `shell.py` what each gets to work with: the client, the output and the terminal.
"""
