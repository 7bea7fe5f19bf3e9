"""The original project's files, and checkpoints of anybody, read without running what they name.

`pickles` reads `<image>.pkl`, `data.npy` and requests, `torch_zip` checkpoints: both through the
`unpickler`, which calls the `stand_ins` for the names that it allows. `configs` brings the
original's configs to today's keys.
"""
