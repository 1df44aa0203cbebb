"""Each claim of the guide "Cortex and Vault", paragraph by paragraph, and the tests that show it."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CLAIMS: dict[str, tuple[str, ...]] = {
    "an agent requests credentials at runtime, rather than having them in its configuration": (
        "cortex/test_guide.py::test_using_credentials_in_agent_tasks",
        "cortex/test_cli.py::test_a_run_prints_the_answer_and_shows_the_calls_and_the_way_to_the_trail",
    ),
    "a structured way to request credentials, bounded by leases and recorded in the audit log": (
        "mcp/test_mcp_serve.py::test_a_credential_comes_as_a_lease_with_structure",
        "contract/test_audit_entries.py::*",
    ),
    "the runtime starts the MCP server as a subprocess and makes its tools available to the agent": (
        "cortex/test_guide.py::test_registering_the_vault_s_mcp_server",
        "cortex/test_processes.py::test_the_real_server_serves_a_run_and_leaves_no_process",
    ),
    "the configuration names environment variables, the tenant, and any command": (
        "cortex/test_configuration.py::test_the_guides_json_is_an_agent",
        "cortex/test_configuration.py::test_a_variable_that_is_missing_is_named",
        "cortex/test_configuration.py::test_the_vaults_server_is_the_one_of_that_name_else_ours",
    ),
    "the agent's name is the identity in the lease, with its session and its purpose": (
        "cortex/test_runs.py::test_a_run_is_a_session_that_the_vault_attests_and_that_ends_with_it",
        "cortex/test_runs.py::test_the_name_is_the_tokens",
    ),
    "the session id is generated for each run; two runs have two ids and two trails": (
        "cortex/test_runs.py::test_two_runs_of_one_agent_have_two_trails_even_at_once",
    ),
    "when the model decides that it needs a credential, it calls the tool": (
        "cortex/test_guide.py::test_using_credentials_in_agent_tasks",
        "cortex/test_references.py::test_over_the_wire_no_message_log_or_trace_holds_the_value",
    ),
    "the lease expires after the configured TTL, and the entire interaction is logged": (
        "contract/test_expiry.py::*",
        "cortex/test_guide.py::test_using_credentials_in_agent_tasks",
    ),
    "separate tokens for deploy, analytics and notification agents, scoped to what each needs": (
        "cortex/test_guide.py::test_scoping_agent_permissions",
        "cortex/test_runs.py::test_each_agent_has_what_its_token_reaches_and_no_more",
        "cortex/test_runs.py::test_analytics_cant_get_a_deploy_key_however_its_model_asks",
        "cortex/test_runs.py::test_the_vaults_server_gets_the_sessions_token_and_nobody_else_gets_any",
    ),
    "with autoRenew, active leases are renewed before they expire, up to the maximum": (
        "cortex/test_guide.py::test_lease_management_in_long_running_agents",
        "mcp/test_mcp_renewal.py::*",
    ),
    "a task that exceeds the maximum must request a new lease": (
        "cortex/test_runs.py::test_leases_are_renewed_while_the_run_goes_on_and_their_maximum_is_said",
        "cortex/test_runs.py::test_a_task_longer_than_the_maximum_is_told_to_request_a_new_lease_and_does",
    ),
    "the audit log filters by agent name and session id, and answers every access of that run": (
        "cortex/test_guide.py::test_monitoring_agent_credential_usage",
        "contract/test_audit_queries.py::*",
    ),
}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_has_the_tests_that_show_it(claim: str) -> None:
    for shown_by in CLAIMS[claim]:
        path, _, name = shown_by.partition("::")
        assert names_in(path), path
        assert name == "*" or name in names_in(path), shown_by
