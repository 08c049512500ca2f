"""Makes every call of PyOTA that a node supports: pyota_wallet.py PROVIDER LEDGER [CALL…]"""

import json
import sys
from urllib.parse import urlsplit

from iota import Address, Iota, ProposedTransaction, Tag, TransactionHash, TransactionTrytes, TryteString
from iota.adapter import HttpAdapter
from iota.json import JsonEncoder


def api_of(provider, seed):
    """User and password are given to PyOTA beside the address."""
    url = urlsplit(provider)
    adapter = HttpAdapter(url._replace(netloc=url.netloc.rpartition("@")[2]).geturl())
    if url.username:
        adapter.authentication = (url.username, url.password)
    return Iota(adapter, seed)


def calls_of(api, ledger):
    address, recipient = Address(ledger["address"]), Address(ledger["recipient"])
    tail, bundle, tag = TransactionHash(ledger["tail"]), ledger["bundle"], Tag(ledger["tag"])
    attached = [TransactionTrytes(trytes) for trytes in ledger["transactions"].values()]
    neighbour = ["udp://192.0.2.1:14600"]

    def payment():
        return [ProposedTransaction(address=recipient, value=60, tag=tag, message=TryteString.from_unicode("PAYMENT"))]

    return {
        "getNodeInfo": api.get_node_info,
        "getNodeAPIConfiguration": api.get_node_api_configuration,
        "getTips": api.get_tips,
        "getMissingTransactions": api.get_missing_transactions,
        "getTransactionsToApprove": lambda: api.get_transactions_to_approve(3),
        "getTransactionsToApprove, too deep": lambda: api.get_transactions_to_approve(16),
        "attachToTangle": lambda: api.attach_to_tangle(tail, tail, attached, 14),
        "interruptAttachingToTangle": api.interrupt_attaching_to_tangle,
        "broadcastTransactions": lambda: api.broadcast_transactions(attached),
        "broadcastTransactions, 100 of them": lambda: api.broadcast_transactions(attached * 50),
        "broadcastTransactions, too many": lambda: api.broadcast_transactions(attached * 200),
        "storeTransactions": lambda: api.store_transactions(attached),
        "broadcastAndStore": lambda: api.broadcast_and_store(attached),
        "findTransactions, addresses": lambda: api.find_transactions(addresses=[address]),
        "findTransactions, bundles": lambda: api.find_transactions(bundles=[bundle]),
        "findTransactions, tags": lambda: api.find_transactions(tags=[tag]),
        "findTransactions, approvees": lambda: api.find_transactions(approvees=[tail]),
        "findTransactionObjects": lambda: api.find_transaction_objects(addresses=[address]),
        "getTrytes": lambda: api.get_trytes([tail]),
        "getTransactionObjects": lambda: api.get_transaction_objects([tail]),
        "getBalances": lambda: api.get_balances([address, recipient]),
        "getInclusionStates": lambda: api.get_inclusion_states([tail], [tail]),
        "getLatestInclusion": lambda: list(api.get_latest_inclusion([tail])["states"].values()),
        "checkConsistency": lambda: api.check_consistency([tail]),
        "wereAddressesSpentFrom": lambda: api.were_addresses_spent_from([address]),
        "getBundles": lambda: api.get_bundles(tail),
        "getNewAddresses": lambda: api.get_new_addresses(index=1, count=None, security_level=1),
        "getInputs": lambda: api.get_inputs(stop=1, security_level=1),
        "getTransfers": lambda: api.get_transfers(stop=1, inclusion_states=True),
        "getAccountData": lambda: api.get_account_data(inclusion_states=True, security_level=1),
        # It calls prepare_transfer.
        "sendTransfer": lambda: [t.address for t in api.send_transfer(payment(), security_level=1)["bundle"]],
        "sendTrytes": lambda: api.send_trytes(attached),
        "promoteTransaction": lambda: len(api.promote_transaction(tail)["bundle"]),
        "replayBundle": lambda: len(api.replay_bundle(tail)["trytes"]),
        "getNeighbors": api.get_neighbors,
        "addNeighbors": lambda: api.add_neighbors(neighbour),
        "removeNeighbors": lambda: api.remove_neighbors(neighbour),
    }


def main(provider, ledger_file, *names):
    with open(ledger_file, encoding="ascii") as file:
        ledger = json.load(file)
    calls = calls_of(api_of(provider, ledger["seed"]), ledger)
    for name in names or calls:
        try:
            outcome = {"call": name, "ok": True, "result": calls[name]()}
        except Exception as error:  # whatever a wallet would see
            outcome = {"call": name, "ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(outcome, cls=JsonEncoder))


main(*sys.argv[1:])
