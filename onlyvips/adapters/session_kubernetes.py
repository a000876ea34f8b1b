"""A connection to a Kubernetes apiserver: JSON in, JSON out, its errors in our words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config

from onlyvips.errors import Conflict, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Manifest

_TIMEOUT = (3.0, 10.0)
_SLOW_DOWN = 429


class KubernetesSession:
    """Every call has its own timeout; nothing is retried here."""

    def __init__(self, kubeconfig: Path | None) -> None:
        """Read ``kubeconfig``, or the pod's own service account when it is None. Raises Permanent when it cannot."""
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        except (config.ConfigException, OSError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
            what = f"the kubeconfig {kubeconfig}" if kubeconfig else "this pod's service account"
            # Without its cause: that may quote the file, and the file holds a token.
            raise Permanent(
                f"No access to the cluster: {what} cannot be used ({type(error).__name__}): nothing was changed; set "
                "KUBECONFIG, or correct endpoints.kubeconfig of this environment."
            ) from None
        configuration.retries = False
        self._api = client.ApiClient(configuration)

    def ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> tuple[int, Any]:
        """Status and body. Raises Transient or UnknownOutcome when no answer came."""
        headers = {"Content-Type": content, "Accept": "application/json"}
        request = self._api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(*request, _request_timeout=_TIMEOUT)
            data = response.read()
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            raise _no_answer(self._api.configuration.host, method, path, error) from error
        return int(response.status), _parsed(data)


def _parsed(data: bytes) -> Any:
    """JSON, or the text of who answered in the apiserver's place: its own overload and proxies speak no JSON."""
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return {"message": data.decode(errors="replace").strip()}


def _no_answer(host: str, method: str, path: str, error: Exception) -> Exception:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    why = "nobody listens there" if refused else f"{type(error).__name__}: {str(error)[:160]}"
    asked = f"The Kubernetes API at {host} did not answer {method} {path.partition('?')[0]} ({why})"
    if method == "GET" or refused:
        return Transient(f"{asked}: nothing was changed by this; see that it is up and reachable.")
    return UnknownOutcome(f"{asked}: whether it was done is read back before anything else is written.")


def checked(status: int, body: Any, asked: str) -> Manifest:
    """The answer to what was ``asked`` ("read Deployment x"), or what is wrong with it, raised."""
    if status < 300 and isinstance(body, dict) and "metadata" in body:
        return body
    message = str(body.get("message", body))[:400] if isinstance(body, dict) else str(body)[:400]
    sentence = f"Kubernetes refused to {asked} ({status}): {message}"
    if status == 404 and message == "404 page not found":
        raise Permanent(f"Kubernetes cannot {asked}, for it has no such kind: install its CRD.")
    if status == 404 and not (isinstance(body, dict) and body.get("kind") == "Status"):
        raise Transient(
            f"Who was asked to {asked} does not answer as an apiserver does: see where the kubeconfig leads."
        )
    if status == 409:
        raise Conflict(sentence)
    if status == _SLOW_DOWN or (status >= 500 or status < 300) and asked.startswith(("read", "list")):
        raise Transient(sentence)
    if status >= 500 or status < 300:
        raise UnknownOutcome(sentence)
    raise Permanent(sentence)
