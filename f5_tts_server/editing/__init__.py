"""From a recording, its words and the words it shall have to the parts that a request is made of."""

from f5_tts_server.editing.plan import Change, Edit, plan_edit

__all__ = ["Change", "Edit", "plan_edit"]
