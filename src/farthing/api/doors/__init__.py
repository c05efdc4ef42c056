"""The paths that other systems' clients call, and how each of those systems answers.

What a request means is decided in `events/doors/`; here are the paths, the keys as those clients send them, and
answers and errors in the shapes that those clients read.
"""
