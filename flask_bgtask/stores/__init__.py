"""Where jobs are kept: one module or package for each kind of :class:`.Store`."""
