"""What all tables share: rows belong to the database of the unit of work that runs."""

import peewee

from ingot.server.storage import unit_of_work


class Table(peewee.Model):
    """Base of all tables; `Table.select()` and the like work inside a unit of work only."""

    class Meta:
        database = unit_of_work.current
        legacy_table_names = False  # CamelCase becomes snake_case
