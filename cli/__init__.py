"""The command line: one module per verb or family of verbs.

Verbs print what they are asked for on stdout and everything else on stderr. Exit status: 0 done,
1 failed, 2 bad usage or input. Nothing in `actors` or `protocol` imports from here.
"""
