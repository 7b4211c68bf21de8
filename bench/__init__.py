"""What is fast, measured against peers in the same run.

`python -m bench NAME [--quick] [--json FILE] [--plot FILE]` runs one module of this folder. Every
figure is given beside a peer's from the same run, as a ratio, since machines are noisy.
"""
