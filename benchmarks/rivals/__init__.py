"""Run Flower and NVFLARE as their own documents deploy them, so that our figures stand beside theirs on the same machine.

Each rival has a virtual environment of its own (`venvs`), real processes on loopback (`processes`), and a module that offers what
`rival` says; `timing` times rounds without training, `faults` kills and freezes. What the rivals execute lies in `apps/`. Nothing here
imports a rival.
"""
