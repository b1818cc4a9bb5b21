"""Cases, predictions, annotations, jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID, TIME, DIGEST, NAME, WORD = sa.String(32), sa.String(32), sa.String(64), sa.String(255), sa.String(16)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cases",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", NAME, nullable=False, index=True),
        sa.Column("added", TIME, nullable=False, index=True),
        sa.Column("sha256", DIGEST, nullable=False, index=True),
        sa.Column("scan", DIGEST, nullable=False, index=True),
        sa.Column("thumbnail", DIGEST, nullable=False, index=True),
        sa.Column("shape", sa.JSON, nullable=False),
        sa.Column("axes", sa.String(4), nullable=False),
        sa.Column("spacing", sa.JSON),
        sa.Column("affine", sa.JSON),
        sa.Column("modality", WORD),
        sa.Column("format", WORD, nullable=False),
        sa.Column("patient", NAME),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.Column("prediction_id", ID),
        sa.Column("decision", WORD, index=True),
        sa.Column("probability", sa.Float, index=True),
        sa.Column("lesions", sa.Integer),
        sa.Column("review", WORD, nullable=False, index=True),
        sa.Column("annotation_id", ID),
    )
    case = sa.ForeignKey("cases.id", ondelete="CASCADE")
    op.create_table(
        "predictions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("case_id", ID, case, nullable=False, index=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("model_version", NAME, nullable=False),
        sa.Column("map", DIGEST, nullable=False, index=True),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Index("predictions_of_model", "case_id", "model", "model_version"),
    )
    op.create_table(
        "annotations",
        sa.Column("id", ID, primary_key=True),
        sa.Column("case_id", ID, sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("annotator", NAME, nullable=False, index=True),
        sa.Column("decision", WORD, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("modified", TIME, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("state", WORD, nullable=False, index=True),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("created", TIME, nullable=False, index=True),
        sa.Column("started", TIME),
        sa.Column("finished", TIME),
    )
    op.create_table(
        "job_items",
        sa.Column("job_id", ID, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("case_id", ID, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("prediction_id", ID),
        sa.Index("items_by_state", "job_id", "state"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("job_items", "jobs", "annotations", "predictions", "cases"):
        op.drop_table(table)
