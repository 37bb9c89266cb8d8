"""Runs operations: one claimed row at a time, in a child process or in small steps inside the server.

dispatchers.py      which operation runs when; two of them, and the row is the truth for both
runner.py           claims what a dispatcher names, and keeps time: lost claims, periodic operations
supervision.py      one attempt from claim to end: beats, silence, timeout, cancelling, outcome
bodies.py           a body in a child process, and its folder, log and report pipe
reports.py          what a body says, made harmless
shelf.py            a body inside the server
"""
