"""Where the parties run: threads of one process, or processes of one machine, started, watched and named."""
