"""The console script."""


def main() -> None:
    """Run ``vaultctl``."""


if __name__ == "__main__":
    main()
