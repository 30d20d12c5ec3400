"""Match payments to open invoices by reference, then by unique party and amount."""

import argparse
import csv
import re
from decimal import Decimal
from pathlib import Path

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def key(text: str) -> str:
    """Letters and digits only, upper case, without leading zeros."""
    return re.sub(r"[^A-Z0-9]", "", text.upper()).lstrip("0")


def same_amount(payment: Row, invoice: Row) -> bool:
    return payment["currency"] == invoice["currency"] and Decimal(payment["amount"]) == Decimal(
        invoice["amount"]
    )


def by_reference(payment: Row, invoices: list[Row]) -> list[Row]:
    words = {key(word) for word in re.split(r"[\s,;]+", payment["purpose"])}
    return [i for i in invoices if key(i["number"]) in words and same_amount(payment, i)]


def by_party(payment: Row, invoices: list[Row]) -> list[Row]:
    return [i for i in invoices if i["iban"] == payment["iban"] and same_amount(payment, i)]


def match(payment: Row, invoices: list[Row]) -> tuple[Row | None, str]:
    """The one sure invoice and how it was found, or None and why not."""
    for how, find in (("reference", by_reference), ("party and amount", by_party)):
        found = find(payment, invoices)
        if len(found) == 1:
            return found[0], how
        if found:
            return None, f"{len(found)} invoices by {how}"
    return None, "nothing fits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("invoices", type=Path, help="number,party,iban,amount,currency")
    parser.add_argument("payments", type=Path, help="reference,iban,amount,currency,purpose")
    given = parser.parse_args()
    open_items = read(given.invoices)
    for payment in read(given.payments):
        invoice, how = match(payment, open_items)
        if invoice is None:
            print(f"exception,{payment['reference']},,{how}")
        else:
            open_items.remove(invoice)
            print(f"matched,{payment['reference']},{invoice['number']},{how}")


if __name__ == "__main__":
    main()
