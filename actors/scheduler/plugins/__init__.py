"""The plugins that come with the scheduler, one file per subject.

Each follows the upstream plugin of the same name in what it accepts, how it scores and how it words
a refusal; the arithmetic is over columns.
"""
