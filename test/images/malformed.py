def build(d): pass
