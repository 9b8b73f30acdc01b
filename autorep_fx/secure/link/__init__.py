"""How two parties talk: framed messages over queues or sockets, counted, checked, slowed down if wanted."""
