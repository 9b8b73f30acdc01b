"""What the names of nodes end with that are made beside those of a program's steps."""

#: What a max pooling pads with.
LOW = ".low"

#: A truncation in between.
CUT = ".cut"

#: What travels of a site of lines: the positions that are taken, what they compute, their factors behind it, and all
#: back in their places.
TAKEN, ACT, OWN, PUT = ".taken", ".act", ".own", ".put"

#: An input that is clipped: what a client asks about, and what clips it.
ASKED, CLAMP = ".asked", ".clamp"
