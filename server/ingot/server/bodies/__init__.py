"""Bodies: what an operation does when it touches the outside world, each in a process of its own.

    __main__.py    the program: which module does which kind
    harness.py     reads the spec, beats, catches what happens, writes the last report
    work.py        what a body is handed: parameters, client, folder, progress, log, cancelling
    failures.py    failures in the form in which an operation keeps them
    fetching.py    several files from the web at once, web.py as the settings want it
    import_…, export_…, validate.py    the bodies, with what they share beside them

A body is a function `run(work)` that returns the result of its kind. It is a client of the server like any
other, with the token of its attempt, and may be killed at any time: what must survive lies in `work.folder`.
"""
