"""Expand: models can be listed in the order of their last change without sorting them all.

Releases of the schemas before run on it unchanged.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_models_changed", "models", ["tenant_id", "updated_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_models_changed", "models")
