"""Run Flower and NVFLARE as their own documents deploy them, so that our figures stand beside theirs on the same machine.

Each rival has a virtual environment of its own (`venvs`), real processes on loopback (`processes`), and two functions: `rounds`, which
times rounds without training, and `faults`, which kills and freezes. What the rivals execute lies in `apps/`. Nothing here imports a rival.
"""
