"""The layout of prepared Parquet files: columns, row groups and version."""

import pyarrow as pa

from pipeline.data.formats import COLUMNS

# A row is an example of a task, as one encoding or several (windows of a passage, choices). `row_id` is its index
# in the source split.
SCHEMA = pa.schema([("row_id", pa.int64()), *COLUMNS])

# Rows of a row group; `pipeline.sampling.plan` keeps the rows of a group together.
ROW_GROUP_ROWS = 1_024

# Raised when the files or their meaning change; data of another version is prepared again.
# 2: row groups of ROW_GROUP_ROWS; 3: several encodings per row, marks, references; 4: duplicate ids are counted;
# 5: `data.max_eval_rows` keeps rows that are measured together.
SCHEMA_VERSION = 5
