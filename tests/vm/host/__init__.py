"""The host's half of the emulated machine: builds it, boots it, answers what scenarios ask for."""
