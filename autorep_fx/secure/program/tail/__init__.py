"""What the client does behind a private run: a few steps without weights, on numbers that it has, in NumPy.

They come with the program, from whoever has made it. Nothing but the operations of these tables is run, and steps are
checked whole before that (tail.py)."""
