"""Who is who: the ranks of CrypTen's process group."""

SERVER, CLIENT, DEALER = 0, 1, 2
