import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.adapters import sql
from pipeline.adapters.sql import SqlSource
from pipeline.data import read
from pipeline.errors import ConfigError, DataError, Temporary
from tests.parts import NEW_YEAR, model
