"""Every nucleus of a slide of any size, in bounded memory."""
