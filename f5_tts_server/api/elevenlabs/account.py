"""`user` and `subscription`, which clients read before they speak: nobody pays here, and nothing runs out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from f5_tts_server.api.services import Services

# Clients compute what is left; a number that JavaScript holds exactly, far from being reached.
_UNLIMITED = 2**53 - 1


def add(routes: APIRouter, services: Services) -> None:
    """Add the routes."""

    @routes.get("/v1/user")
    def user() -> dict[str, Any]:
        """The caller, of whom nothing is known here."""
        return {
            "user_id": "f5-tts-server",
            "workspace_id": "f5-tts-server",
            "subscription": subscription(),
            "is_new_user": False,
            "can_use_delayed_payment_methods": False,
            "is_onboarding_completed": True,
            "is_onboarding_checklist_completed": True,
            "created_at": 0,
            "seat_type": "workspace_admin",
        }

    @routes.get("/v1/user/subscription")
    def subscription() -> dict[str, Any]:
        """Characters without a limit, and the voices that are stored of those that may be."""
        uploads = sum(not voice.embedded for voice in services.voices.list())
        return {
            "tier": "self_hosted",
            "status": "active",
            "character_count": 0,
            "character_limit": _UNLIMITED,
            "max_credit_limit_extension": 0,
            "can_extend_character_limit": False,
            "allowed_to_extend_character_limit": False,
            "voice_slots_used": uploads,
            "voice_limit": services.voices.max_voices,
            "voice_add_edit_counter": 0,
            "professional_voice_slots_used": 0,
            "professional_voice_slots_used_in_workspace": 0,
            "professional_voice_limit": 0,
            "can_extend_voice_limit": False,
            "can_use_instant_voice_cloning": services.voices.folder is not None,
            "can_use_professional_voice_cloning": False,
            "current_overage": {"amount": "0", "currency": "usd"},
            "open_invoices": [],
            "has_open_invoices": False,
        }
