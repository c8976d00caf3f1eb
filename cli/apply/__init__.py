"""`portside apply`: models, datasets, services and jobs as YAML documents, compared with a platform and carried out.

`documents` reads and checks files and knows no platform; `plan`, with `dataset_plan` and `job_plan`, compares and
changes nothing; `steps` does what the plan says. May import: what client verbs may, and yaml. Must never: delete what
no apply has made.
"""
