"""The printed report."""
import statistics
import sys


class Figure:
    """One quantity, measured several times."""

    def __init__(self, samples):
        self.samples = list(samples)
        self.median = statistics.median(self.samples)

    def text(self, digits=1):
        least, greatest = min(self.samples), max(self.samples)
        median = f'{self.median:,.{digits}f}'
        if len(self.samples) == 1:
            return median
        return f'{median} ({least:,.{digits}f}..{greatest:,.{digits}f})'


def at_most(value, target):
    return f'<= {target:g} {"ok" if value <= target else "over"}'


def at_least(value, target):
    return f'>= {target:g} {"ok" if value >= target else "under"}'


def title(backend, sizes, machine):
    runs = 'one run' if sizes.runs == 1 else f'{sizes.runs} runs, median (least..greatest)'
    return (f'\n=== crypto backend {backend}; {runs}; server on core {machine.server_core}, '
            f'loader on core {machine.loader_core} of {machine.count}')


def section(heading, columns, rows):
    """Columns as wide as what stands in them."""
    lines = [columns, *rows] if any(columns) else rows
    widths = [max(len(line[index]) for line in lines) for index in range(len(rows[0]))]
    print(f'\n{heading}')
    for line in lines:
        print('  ' + '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    sys.stdout.flush()


def footer(machine):
    return f'\nThe hypervisor gave {machine.stolen():.1%} of the time to other machines.' if machine.stolen() >= 0.001 else ''
