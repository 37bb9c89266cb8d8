"""The worker: claims training jobs, trains with DeepSpeed, returns models.

Two halves that meet only in plain data. The agent side speaks to the server and never imports torch; the
trainer side (`train`, `data`, `tokens`, `model`, `checkpoint`, `export`, `generate`) runs in its own process
and never imports grpc. Between them: `config` (what to train), `progress` (events on a pipe), `launch`
(start, signal, end a trainer), `folders` (what lies in a work folder) and `generation` (requests to a text
generating process).
"""
