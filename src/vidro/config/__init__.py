"""Settings: what can be set (`schema`), named models (`presets`), and how a file and flags become one (`load`).

Not here: where defaults depend on the text and the machine (`train/defaults`). Read next: `schema`.
"""
