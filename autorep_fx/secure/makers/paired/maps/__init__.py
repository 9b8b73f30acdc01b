"""Linear maps of client and server alone: the client encrypts its blinding, the server multiplies by weights (RLWE).

    key = ClientKey()                                           # client, once a session; key.public is sent
    public = PublicKey.of(arrays)                               # server
    weight = prepare_weight(step, numbers)                      # server, once a model
    message = encrypt(step, key, B)                             # client: arrays to send
    U, answer = respond(step, weight, public, message, batch)   # server: its share, and arrays to send
    d = decrypt(step, key, answer, B)                           # client: its share

leaves ``U + d = W B`` modulo 2^width, off by one in the last bit at times (parameters.py). What the server keeps is
what it rounds, not what it draws: c0 of the answer never leaves it, so that of what a client sees only c1 has to do
with the weights, and c1 is made again with the client's public key, whose second half is no client's choice
(csrc/rlwe/respond.h). A client that sends anything as c0 or as the public key's first half changes what the *server*
keeps, and sees the same.
"""

from .client import decrypt, encrypt
from .groups import Part, in_groups
from .keys import ClientKey, PublicKey, public_words
from .messages import products, sizes
from .server import Room, Weight, prepare_weight, respond

__all__ = [
    "ClientKey",
    "Part",
    "PublicKey",
    "Room",
    "Weight",
    "decrypt",
    "encrypt",
    "in_groups",
    "prepare_weight",
    "products",
    "public_words",
    "respond",
    "sizes",
]
