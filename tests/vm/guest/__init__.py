"""The guest's half of the emulated machine: runs scenarios and tells the host how they went."""
