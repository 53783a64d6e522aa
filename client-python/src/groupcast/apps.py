"""Where Django looks for the configuration of an app."""

from groupcast._app import GroupcastConfig as GroupcastConfig
