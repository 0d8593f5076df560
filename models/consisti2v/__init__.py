"""ConsistI2V: image-to-video generation (Ren et al., TMLR 2024), network, sampling and adapter."""
