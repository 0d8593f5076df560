"""How planned batches are carried out: in this process, or (later) by workers."""
